"""Examples with an identity and replayable views: see `Examples`, and `Data`."""
