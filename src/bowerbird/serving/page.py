"""The page at `/`: what is served here, and a box that streams a text, makes a tune or draws. It asks nobody else."""

from __future__ import annotations

import html
from collections.abc import Mapping
from string import Template

CONTENT_SECURITY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(kinds: Mapping[str, str]) -> str:
    """The page for these model ids, each with its kind."""
    options = "".join(
        f'<option data-kind="{html.escape(kind)}">{html.escape(name)}</option>'
        for name, kind in kinds.items()
    )
    return _PAGE.substitute(options=options)


_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>bowerbird</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --ink: #1d2733; --paper: #fbfaf7; --line: #d5d2c9; --blue: #1f4fa3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e3da; --paper: #171a1f; --line: #3a3f48; --blue: #7fa8ee; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 46rem; padding: 2rem 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.4rem; color: var(--blue); }
p { margin: .25rem 0 1.25rem; }
label { font-size: .85rem; }
textarea, select, input { width: 100%; padding: .5rem; font: inherit; color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: .4rem; }
select option { color: var(--ink); background: var(--paper); }
.row { display: grid; grid-template-columns: 2fr 1fr 1fr 1fr; gap: .75rem; margin: .75rem 0; }
@media (max-width: 34rem) { .row { grid-template-columns: 1fr 1fr; } }
button { padding: .5rem 1.25rem; font: inherit; color: #fff; background: #1f4fa3; border: 0;
  border-radius: .4rem; cursor: pointer; }
button[disabled] { opacity: .4; cursor: default; }
#stop { background: #7a4a4a; }
#out { min-height: 8rem; margin-top: 1rem; padding: .75rem; border-left: 3px solid var(--blue);
  white-space: pre-wrap; overflow-wrap: anywhere; font-family: Georgia, serif; }
#out img { width: 16rem; max-width: 100%; image-rendering: pixelated; }
#out b { font-weight: 600; color: var(--blue); }
#said { min-height: 1.5rem; font-size: .85rem; }
</style>
</head>
<body>
<h1>bowerbird</h1>
<p>Your model, on this machine. Programs ask it at <code>/v1/completions</code>, for tunes at
<code>/v1/melodies/generations</code>, for pictures at <code>/v1/images/generations</code>.</p>
<label for="prompt">How it begins (a tune: ABC, or notes as C4 D4 E4:2; of a picture its class, or nothing)</label>
<textarea id="prompt" rows="3" autofocus></textarea>
<div class="row">
<div><label for="model">Model</label><select id="model">$options</select></div>
<div><label for="length">Tokens</label>
<input id="length" type="number" min="1" max="100000" value="400"></div>
<div><label for="temperature">Temperature</label>
<input id="temperature" type="number" min="0" max="2" step="0.1" value="0.8"></div>
<div><label for="seed">Seed</label><input id="seed" type="number" min="0" placeholder="any"></div>
</div>
<button id="go">Write</button> <button id="stop" disabled>Stop</button>
<div id="out" role="region" aria-label="What the model writes" aria-live="off"></div>
<div id="said" role="status"></div>
<script>
const at = (id) => document.getElementById(id);
let leaving = null;

async function ask(path, body) {
  const answer = await fetch(path, { method: "POST", body: JSON.stringify(body),
    headers: { "Content-Type": "application/json" }, signal: leaving.signal });
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  return answer;
}

async function compose(body) {
  const { model, prompt, seed, temperature } = body;
  const made = await (await ask("/v1/melodies/generations", { model, prompt, seed, temperature,
    max_tokens: Math.max(16, Math.min(20000, body.max_tokens * 3)) })).json();
  const link = document.createElement("a");
  link.href = "data:audio/midi;base64," + made.data[0].b64_json;
  link.download = "tune.mid";
  link.textContent = "tune.mid";
  at("out").replaceChildren(made.data[0].abc, link);
  return made.usage.completion_tokens;
}

async function draw(body) {
  const { model, prompt, seed } = body;
  const made = await (await ask("/v1/images/generations", { model, prompt, seed })).json();
  const image = document.createElement("img");
  image.src = "data:image/png;base64," + made.data[0].b64_json;
  image.alt = "a picture, of seed " + made.data[0].seed;
  at("out").replaceChildren(image);
  return null;
}

async function complete(body) {
  const answer = await ask("/v1/completions", body);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "", tokens = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const events = (held + value).split("\\n\\n");
    held = events.pop();
    let text = "";
    for (const event of events) {
      if (event === "data: [DONE]") continue;
      const part = JSON.parse(event.slice(6));
      if (part.error) throw new Error(part.error.message);
      if (part.usage) tokens = part.usage.completion_tokens;
      for (const choice of part.choices) text += choice.text;
    }
    at("out").append(text);
  }
  return tokens;
}

async function write() {
  const prompt = at("prompt").value, begun = performance.now();
  const body = { model: at("model").value, prompt, stream: true, stream_options: { include_usage: true },
    max_tokens: Number(at("length").value), temperature: Number(at("temperature").value) };
  if (at("seed").value !== "") body.seed = Number(at("seed").value);
  leaving = new AbortController();
  at("go").disabled = true; at("stop").disabled = false;
  const lead = document.createElement("b");
  lead.textContent = prompt;
  at("out").replaceChildren(lead);
  at("said").textContent = "writing ...";
  try {
    const make = { melody: compose, image: draw }[at("model").selectedOptions[0].dataset.kind] || complete;
    const tokens = await make(body), seconds = (performance.now() - begun) / 1000;
    at("said").textContent = (tokens === null ? "made" : tokens + " tokens") + " in " + seconds.toFixed(1) + " s";
  } catch (error) {
    at("said").textContent = error.name === "AbortError" ? "stopped" : "It did not work: " + error.message;
  }
  at("go").disabled = false; at("stop").disabled = true;
}

at("go").addEventListener("click", write);
at("stop").addEventListener("click", () => leaving && leaving.abort());
at("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !at("go").disabled) write();
});
</script>
</body>
</html>
""")
