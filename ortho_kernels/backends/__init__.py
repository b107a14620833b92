"""One module per backend: `supports_<op>` is "" or the reason why not, `<op>` does the work."""
