"""The analyst's web page: Datasette on the live file, with the dictionary and the questions people ask."""
