"""The public functions and classes; `import jaxrec` exports them."""
