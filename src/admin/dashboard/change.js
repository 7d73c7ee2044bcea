// Changes: tried first, asked about where they are dangerous, then made, and told with weir's own words. They are
// the requests that `weir ctl` makes, and weir decides whether this page may make them.

const pathOfBackend = (pool, backend) => `/pools/${encodeURIComponent(pool)}/backends/${encodeURIComponent(backend)}`;

/** Shows a message until the next one, or until it is closed. What went well goes by itself. */
const tell = (() => {
  const box = byId("said"), [well, badly, close] = box.children;
  let ends;
  close.addEventListener("click", () => tell("", false));
  return (words, isFault) => {
    clearTimeout(ends);
    put(well, isFault ? "" : words);
    put(badly, isFault ? words : "");
    mark(box, "class", words === "" ? null : isFault ? "fault" : "fine");
    close.hidden = words === "";
    if (words !== "" && !isFault) ends = setTimeout(() => tell("", false), 10000);
  };
})();

/** Opens a dialog; true once its form was sent, false when it was left. */
function answered(dialog) {
  return new Promise((done) => {
    const form = dialog.querySelector("form"), not = dialog.querySelector(".not");
    const end = (sent) => {
      dialog.onclose = null;
      dialog.close();
      done(sent);
    };
    form.onsubmit = (event) => {
      event.preventDefault();
      end(true);
    };
    if (not) not.onclick = () => end(false);
    dialog.onclose = () => done(false);
    dialog.showModal();
  });
}

async function askFor(method, path, body) {
  const json = body && { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const answer = await request(path, { method, ...json });
  if (!answer.ok) throw new Error(await refusalOf(answer));
  return answer.json();
}

/** What is worth a second thought about a change, a sentence each. */
function risksOf(verb, pool, backend, tried) {
  const risks = [];
  if (verb === "drain" && backend.usable && pool.usable <= 1) {
    risks.push(`It is the last usable backend of pool ${pool.name}. Without it, and unless the pool has a fallback, its requests are refused.`);
  }
  if (tried.moved > 0) risks.push(`${asShare(tried.moved)} of the clients will go to another backend than before.`);
  return risks;
}

async function makeChange(verb, pool, backend, body) {
  const method = verb === "weight" ? "PUT" : "POST", path = `${pathOfBackend(pool.name, backend.name)}/${verb}`;
  const tried = await askFor(method, `${path}?dry_run=true`, body);
  const risks = risksOf(verb, pool, backend, tried);
  if (risks.length > 0) {
    const does = { drain: `Drain ${backend.name}`, ready: `Make ${backend.name} ready`, weight: `Weigh ${backend.name} anew` }[verb];
    put(byId("t-sure"), `${does}?`);
    put(byId("sure").querySelector(".danger"), `${does} all the same`);
    byId("risks").replaceChildren(...risks.map((risk) => make("li", {}, risk)));
    put(byId("would"), `Then: ${tried.done}.`);
    if (!(await answered(byId("sure")))) return;
  }
  const made = await askFor(method, path, body);
  const by = made.shards === 1 ? "the shard" : `all ${made.shards} shards`;
  tell(made.unchanged ? `It was so already: ${made.done}.` : `Done: ${made.done}. In force on ${by} after ${asLength(made.confirmed_us)}.`, false);
}

/** What a backend's buttons do. */
async function act(verb, pool, backend, button) {
  if (button.getAttribute("aria-disabled") === "true") {
    tell(verb === "drain" ? `${backend.name} is ${backend.state} already.` : `${backend.name} was not taken out, so there is nothing to take back.`, false);
    return;
  }
  if (button.getAttribute("aria-busy") === "true") return;
  mark(button, "aria-busy", true);
  try {
    let body;
    if (verb === "weight") {
      put(byId("t-weigh"), `Weight of ${backend.name} in pool ${pool.name}`);
      byId("weight").value = backend.weight;
      if (!(await answered(byId("weigh")))) return;
      body = { weight: Number(byId("weight").value) };
    }
    await makeChange(verb, pool, backend, body);
  } catch (error) {
    const words = error instanceof TypeError ? "weir cannot be reached" : error.message;
    tell(`Not done: ${words}.`, true);
  } finally {
    mark(button, "aria-busy", false);
  }
}
