"""The public functions and objects, which `import jaxrec` offers under their own names."""
