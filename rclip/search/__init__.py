"""From a query to the photos that match it best."""
