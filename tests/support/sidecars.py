"""XMP as programs write it beside photos."""

NAMESPACES = """xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
  xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
  xmlns:aux="http://ns.adobe.com/exif/1.0/aux/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
  xmlns:lr="http://ns.adobe.com/lightroom/1.0/" xmlns:digiKam="http://www.digikam.org/ns/1.0/"
  xmlns:acdsee="http://ns.acdsee.com/iptc/1.0/" xmlns:darktable="http://darktable.sf.net/" """


def xmp(attributes: str = "", elements: str = "") -> bytes:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" {NAMESPACES} {attributes}>{elements}</rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
""".encode()


def bag(name: str, *words: str) -> str:
    return f"<{name}><rdf:Bag>{''.join(f'<rdf:li>{word}</rdf:li>' for word in words)}</rdf:Bag></{name}>"


def alternatives(name: str, text: str) -> str:
    return f'<{name}><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></{name}>'


DARKTABLE = xmp(
    'xmp:Rating="3" exif:DateTimeOriginal="2015:07:04 10:10:10" darktable:xmp_version="5"',
    bag("dc:subject", "Lisbon") + bag("lr:hierarchicalSubject", "Places|Portugal|Lisbon", "darktable|exported|jpg"),
)
DIGIKAM = xmp(
    'exif:GPSLatitude="38,43.3N" exif:GPSLongitude="9,8.36W" photoshop:Headline="By the sea"',
    bag("digiKam:TagsList", "People/Anna", "Tram") + alternatives("dc:title", "Tram 28")
    + alternatives("dc:description", "The tram climbs the hill"),
)  # fmt: skip
LIGHTROOM = xmp('xmp:CreateDate="2015-07-04T10:10:10.12+02:00" tiff:Make="Canon" tiff:Model="R5" aux:Lens="RF 50"')
ACDSEE = xmp(
    'acdsee:rating="4"',
    "<acdsee:categories>&lt;Categories>&lt;Category Assigned=\"0\">Places&lt;Category Assigned=\"1\">Lisbon"
    "&lt;/Category>&lt;/Category>&lt;/Categories></acdsee:categories>" + bag("acdsee:keywords", "tram"),
)  # fmt: skip
