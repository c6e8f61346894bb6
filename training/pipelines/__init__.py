"""Stages composed: the whole run, and the tables that compare ways to learn."""
