"""What a person reads of a run: figures, the report in HTML and Markdown, the terminal's last lines."""
