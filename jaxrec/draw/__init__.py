"""Pictures and pages as strings: arrays in, SVG or HTML out, nothing loaded from elsewhere."""
