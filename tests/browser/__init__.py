"""The page in a browser. A package, so that pytest closes page and browser after the last of these tests."""
