"""Start the studio: `python app.py [--model demo] [--share]`. Host and port by Gradio's own conventions
(GRADIO_SERVER_NAME, GRADIO_SERVER_PORT)."""

from __future__ import annotations

import argparse
import logging
import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read by Gradio when it is imported

from pipeline import StyleCLIP, available_models  # noqa: E402
from webapp.page import LAUNCH, build  # noqa: E402


def main() -> None:
    """Load one model family and serve its page."""
    parser = argparse.ArgumentParser(description="Edit faces with words.")
    parser.add_argument("--model", default="demo", choices=available_models(), help="model family (default: demo)")
    parser.add_argument("--share", action="store_true", help="also make a public link through gradio.live")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    build(StyleCLIP.from_pretrained(options.model)).queue().launch(share=options.share, **LAUNCH)


if __name__ == "__main__":
    main()
