"""Configuration, installed as coldstart_cli.conf. Values live here, in YAML; names and types in signatures."""
