"""Reads an HTML page as a browser would."""

from html.parser import HTMLParser

LATER = object()
EVIL = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)
