"""The page in the browser: `server.Server` serves an `Explorer`. It holds no search logic."""
