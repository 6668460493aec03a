/* Browsers start no worker for a page of the file system. The theme searches in one, so there it gets a hidden frame
 * with the same interface; the name of this file tells the theme's offline plugin that nothing has to be loaded. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      window.addEventListener("message", (event) => {
        if (event.source !== this.frame.contentWindow) return
        const copy = new MessageEvent("message", { data: event.data })
        this.dispatchEvent(copy)
        if (this.onmessage) this.onmessage(copy)
      })
      document.body.appendChild(this.frame)
      this.start(this.frame.contentWindow, String(url))
    }

    start(inside, url) {
      // what the worker calls: scripts are read one behind the other, and messages leave the frame
      const prelude =
        "var send = parent.postMessage.bind(parent);" +
        "window.postMessage = function (data) { send(data, '*') };" +
        "function importScripts() { return Promise.all(Array.from(arguments, function (url) {" +
        "  return new Promise(function (done, failed) {" +
        "    var script = document.createElement('script');" +
        "    script.src = url; script.onload = done; script.onerror = failed;" +
        "    document.body.appendChild(script) }) })) }"
      const script = (attributes, text) => `<script${attributes}>${text}</` + "script>"
      inside.document.open()
      inside.document.write(
        "<!doctype html><body>" + script("", prelude) + script(` src="${url.replace(/"/g, "%22")}"`, "") + "</body>"
      )
      inside.document.close()
    }

    postMessage(data) {
      const inside = this.frame.contentWindow
      inside.dispatchEvent(new MessageEvent("message", { data }))
    }

    terminate() {
      this.frame.remove()
    }
  }
}
