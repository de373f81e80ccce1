"""What a visitor sees. Imports pipeline; pipeline never imports this."""
