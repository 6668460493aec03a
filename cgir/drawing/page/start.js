// The page of one graph.
"use strict";

const page = new GraphPage(document.body, JSON.parse(document.getElementById("graph").textContent));
