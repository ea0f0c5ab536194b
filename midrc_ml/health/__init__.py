"""What `doctor` looks at: each part is a function that returns findings, and changes nothing."""
