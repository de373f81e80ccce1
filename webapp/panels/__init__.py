"""One file a panel. `layout()` makes a panel's components, `connect()` says what its buttons and sliders do."""
