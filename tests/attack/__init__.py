"""What the examinations of hostile files share: taking a container apart, and storming it."""
