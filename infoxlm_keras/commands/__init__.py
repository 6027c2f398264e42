"""The commands, one module each: `main(arguments)` parses the options, does the work and prints the result."""
