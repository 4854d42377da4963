/* A page that is opened from a folder may start no Worker, which the search runs in: here it runs in a hidden frame. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = null;
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.frame = frame;
      // document.write, for a frame with a file of its own would be of another origin.
      frame.contentDocument.open();
      frame.contentDocument.write(
        `<script>
          postMessage = (data) => parent.dispatchEvent(new CustomEvent("of-frame", { detail: { data, frame: self.frameElement } }));
          importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((resolve, reject) => {
            const script = document.createElement("script");
            script.src = url; script.onload = resolve; script.onerror = reject;
            document.head.append(script);
          })), Promise.resolve());
        </` + `script><script src="${new URL(url, location.href)}"></` + `script>`
      );
      this.ready = new Promise((resolve) => frame.contentWindow.addEventListener("load", resolve));
      frame.contentDocument.close();
      addEventListener("of-frame", ({ detail }) => {
        if (detail.frame !== frame) return;
        const event = new MessageEvent("message", { data: detail.data });
        this.dispatchEvent(event);
        this.onmessage?.(event);
      });
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
    }
    terminate() {
      this.frame.remove();
    }
  };
}
