"""The tests that open the page in a browser, which ends with them."""
