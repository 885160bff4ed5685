"""Networks in the forms that other tools read, each verified by running it there."""
