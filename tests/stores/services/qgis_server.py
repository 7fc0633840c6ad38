"""QGIS Server behind http.server: python qgis_server.py PORT RASTER FOLDER. For QGIS's Python."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from qgis.core import QgsApplication, QgsProject, QgsRasterLayer
from qgis.server import QgsBufferServerRequest, QgsBufferServerResponse, QgsServer

port, raster, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
application = QgsApplication([], False)
project = QgsProject.instance()
layer = QgsRasterLayer(raster, "photos")
project.addMapLayer(layer)
project.setCrs(layer.crs())
project.writeEntry("WMSCrsList", "/", ["EPSG:3857", "EPSG:4326", "EPSG:25832", "EPSG:31466"])
project.write(str(folder / "project.qgs"))
server = QgsServer()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        request = QgsBufferServerRequest(f"http://127.0.0.1:{port}{self.path}")
        response = QgsBufferServerResponse()
        server.handleRequest(request, response, project)
        body = bytes(response.body())
        self.send_response(response.statusCode())
        self.send_header("Content-Type", response.header("Content-Type"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


HTTPServer(("127.0.0.1", port), Handler).serve_forever()
