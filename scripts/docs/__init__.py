"""The documentation's site: its generated reference, its pictures, its build."""
