"""One stage a file: `main(options)` returns its metrics."""
