"""Empty meta attributes of ISMRMRD images."""

import ismrmrd


def with_empty_texts(image: ismrmrd.Image) -> ismrmrd.Image:
    """Return the image with empty texts in place of the None that ismrmrd reads from them.

    ismrmrd writes None as the text "None". Older files hold that text in attributes of ours, whose
    values are never "None" otherwise.
    """
    texts = {name: _text(name, value) for name, value in image.meta.items()}
    image.meta = ismrmrd.Meta(texts)
    return image


def _text(name: str, value: object) -> object:
    if isinstance(value, list):
        return [_text(name, entry) for entry in value]
    is_none = value is None or (value == "None" and str(name).startswith("JRSR_"))
    return "" if is_none else value
