"""The screens: each turns what is known into rows, and asks the app for the rest by messages."""
