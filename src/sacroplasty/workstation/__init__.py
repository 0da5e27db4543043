"""The local web workstation. So far only the guard that will stand before its server."""
