// Keeps the support library buildable on its own.
