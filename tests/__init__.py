"""What a user would notice: the library, the page in a browser, the programs. A package for the sake of `browser`."""
