"""The routes of the workstation, one module per part of the contract in docs/workstation_api.md."""
