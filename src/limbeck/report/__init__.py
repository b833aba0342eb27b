"""What came out: tables of finished runs, figures, one HTML page. Free of torch until a page is drawn."""
