"""TiTiler with its WMTS and WMS, in a process of its own: python titiler_app.py PORT."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from titiler.core.errors import DEFAULT_STATUS_CODES, add_exception_handlers
from titiler.core.factory import TilerFactory
from titiler.extensions import wmsExtension, wmtsExtension

SYSTEMS = ["EPSG:4326", "EPSG:3857", "EPSG:25832"]

app = FastAPI()
tiler = TilerFactory(
    router_prefix="/cog",
    extensions=[wmsExtension(supported_crs=SYSTEMS), wmtsExtension()],
)
app.include_router(tiler.router, prefix="/cog")
add_exception_handlers(app, DEFAULT_STATUS_CODES)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
