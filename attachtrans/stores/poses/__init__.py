"""Readers of poses: what photos carry themselves, and tables and files beside them."""
