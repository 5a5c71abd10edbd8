"""What the API says of itself: an OpenAPI 3.1 document and a page to read it with.

`components` has the shapes, `describing` how a view tells of itself, `serving` the two paths. To add an endpoint:
put `@described(…)` on the method and, for a new document, its shape into `components`.
"""
