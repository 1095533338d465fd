"""Product recognition: a picture in, the products of a catalogue that look most like it out."""

from datetime import datetime
from typing import Any

import looks
import product_index

from serving.api import Arrays, Request, Service, TensorSpec, route

MOST = 20  # products of one answer
VECTORS = (TensorSpec("vectors", "FP32", (-1, looks.WIDTH)),)
NEAREST = (TensorSpec("products", "BYTES", (-1, MOST)), TensorSpec("scores", "FP32", (-1, MOST)))


class SkuRecognition(Service):
    """EfficientNet-Lite0's vector of a picture, and the nearest of the products' vectors."""

    pictures = True
    example_image = "examples/sku-recognition/model/products/china-01.jpg"

    def setup(self) -> None:
        self.threshold, nprobe = self.option("threshold", 0.6, 0, 1), self.option("nprobe", 16, 1, 65536)
        self.unknown = self.metrics.counter("sku_unknown_total", "Pictures that look like no product of the index.")
        self.searches = self.metrics.counter("sku_searches_total", "Pictures looked up in the index.")
        products = self.metrics.gauge("sku_index_products", "Products in the index.")
        built = self.metrics.gauge("sku_index_built_timestamp_seconds", "When the index was built, in seconds since 1970.")
        model = looks.fingerprint(self.folder / self.settings.model_path)
        path = product_index.path_of(self)

        def load() -> None:
            # One assignment replaces it, so that a search takes its names from the catalogue that it began with.
            self.catalogue = product_index.read(path, model, nprobe)
            products.set(len(self.catalogue.names))
            built.set(datetime.fromisoformat(self.catalogue.built).timestamp())

        self.watch(path, load)
        self.index = self.models.add("index", self.search, VECTORS, NEAREST, max_batch_size=16)

    def search(self, arrays: Arrays) -> Arrays:
        """Return names and scores for vectors, as the model named index. Numbers of products would change with each index."""
        products, scores = self.catalogue.nearest(arrays["vectors"], MOST)
        return {"products": products, "scores": scores}

    def handle(self, request: Request) -> dict[str, Any]:
        k = request.value("k", int, 5, 1, MOST)
        vectors = self.model({"images": looks.whole(request)}, request)["embedding"]
        found = self.index({"vectors": vectors}, request)
        pairs = zip(found["products"][0, :k], found["scores"][0, :k], strict=True)
        top = [{"label": name.decode(), "score": round(min(float(score), 1.0), 4)} for name, score in pairs if name]
        self.searches.inc()
        if not top or top[0]["score"] < self.threshold:
            self.unknown.inc()
            return {"product": None, "score": max((one["score"] for one in top), default=0.0), "top": top}
        return {"product": top[0]["label"], "score": top[0]["score"], "top": top}

    @route("/recognize", pictures=1)
    def recognize(self, request: Request) -> dict[str, Any]:
        """The product that a picture shows, and the k (5) nearest; a null product where none is near enough."""
        return self.handle(request)

    @route("/stats", "GET")
    def stats(self, request: Request) -> dict[str, Any]:
        """Requests and their percentiles, the index, memory, cores and queue."""
        routes = {"/recognize": "/recognize", f"/api/{self.settings.service_name}": "service"}
        requests = {path: self.metrics.recent(name) for path, name in routes.items()}
        return {"requests": requests, "index": self.catalogue.facts(), **self.vitals()}
