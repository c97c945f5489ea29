"""Every name on the shelves of `agent/compat` is looked for in the installed packages."""
