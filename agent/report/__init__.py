"""The document of `report`: all samples of one recording, put together for people who were not there."""
