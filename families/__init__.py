"""How this repository makes the files of the families that it ships."""
