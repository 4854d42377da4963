"""Configurations, installed as coldstart_cli.conf: values stand in YAML, names and types in signatures."""
