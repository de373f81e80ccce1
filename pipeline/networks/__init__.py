"""The bare networks. They read published state dicts as they are, open no files and know no domain."""
