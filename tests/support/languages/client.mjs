// Clients of Node. Arguments: the server's address. Prints a line a request: its status, and what
// its spans cut out of the text.
import { Agent, request } from "node:http";
import { gzipSync } from "node:zlib";

const text = "a 😀 the good cat 我们";
const body = JSON.stringify({ inputs: text, offsets: "utf16" });
const tag = `${process.argv[2]}/v1/models/names/tag`;

function report(status, answer) {
  const spans = answer.predictions?.[0]?.entities ?? [];
  const cut = spans.map((one) => {
    const found = text.slice(one.start, one.end);
    return found === one.text ? found : `${found}!=${one.text}`;
  });
  console.log([status, ...cut].join("|"));
}

const type = { "content-type": "application/json" };
const packed = { ...type, "content-encoding": "gzip" };
for (const [headers, content] of [
  [type, body],
  [type, body],
  [packed, gzipSync(body)],
]) {
  const answer = await fetch(tag, { method: "POST", headers, body: content });
  report(answer.status, await answer.json());
}

const agent = new Agent({ keepAlive: true, maxSockets: 1 });
for (const headers of [type, { ...type, expect: "100-continue" }, { ...type, upgrade: "h2c" }]) {
  await new Promise((done, failed) => {
    const sent = request(tag, { method: "POST", headers, agent }, (answer) => {
      let read = "";
      answer.setEncoding("utf-8");
      answer.on("data", (part) => (read += part));
      answer.on("end", () => {
        report(answer.statusCode, JSON.parse(read));
        done();
      });
    });
    sent.on("error", failed);
    if (headers.expect) sent.on("continue", () => sent.end(body));
    else sent.end(body); // in chunks
  });
}
agent.destroy();
