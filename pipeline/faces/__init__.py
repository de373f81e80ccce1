"""Photos in, faces found and aligned, and put back."""
