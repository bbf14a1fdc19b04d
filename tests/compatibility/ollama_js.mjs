// The `ollama` package from npm against the server that OLLAMA_HOST names; exits 0 when all is as it should be.
import assert from "node:assert/strict";
import { Ollama } from "ollama";

const model = process.argv[2];
const client = new Ollama({ host: process.env.OLLAMA_HOST });
const options = { temperature: 0, num_predict: 200 };
const messages = [{ role: "user", content: "What is the capital of France?" }];
const tool = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Get the current weather for a city",
    parameters: { type: "object", required: ["city"], properties: { city: { type: "string", description: "The city" } } },
  },
};
const person = { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } }, required: ["name", "age"] };

const whole = await client.chat({ model, messages, think: false, options });
assert.match(whole.message.content, /Paris/);
assert.equal(whole.done, true);
assert.ok(whole.eval_count > 0);

let streamed = "";
for await (const part of await client.chat({ model, messages, think: false, options, stream: true })) {
  streamed += part.message.content;
}
assert.equal(streamed, whole.message.content);

const thought = await client.chat({ model, messages: [{ role: "user", content: "What is 27 plus 35?" }], think: true, options });
assert.ok(thought.message.thinking.length > 0);
assert.match(thought.message.content, /62/);

const called = await client.chat({
  model, messages: [{ role: "user", content: "What is the weather in Paris?" }], tools: [tool], think: false, options,
});
assert.deepEqual(called.message.tool_calls.map((call) => call.function.arguments), [{ city: "Paris" }]);

const structured = await client.chat({
  model, messages: [{ role: "user", content: "Give me a JSON object for a person: name Zoe, age 31." }],
  format: person, think: false, options,
});
assert.deepEqual(Object.keys(JSON.parse(structured.message.content)).sort(), ["age", "name"]);

const generated = await client.generate({ model, prompt: messages[0].content, think: false, options });
assert.match(generated.response, /Paris/);
assert.ok(generated.context.length > 0);

assert.equal((await client.embed({ model, input: ["the sky", "the sea"] })).embeddings.length, 2);
assert.ok((await client.embeddings({ model, prompt: "the sky" })).embedding.length > 0);
assert.ok((await client.list()).models.some((listed) => listed.name === `${model}:latest`));
assert.ok((await client.show({ model })).capabilities.includes("tools"));
assert.ok((await client.ps()).models.length > 0);
assert.match((await client.version()).version, /^\d+\.\d+\.\d+$/);

const made = await client.create({ model: "from-js", from: model, system: "Answer in one word." });
assert.equal(made.status, "success");
assert.equal((await client.copy({ source: "from-js", destination: "from-js-too" })).status, "success");
for (const name of ["from-js", "from-js-too"]) assert.equal((await client.delete({ model: name })).status, "success");
await assert.rejects(client.show({ model: "from-js" }), /not found/);
await assert.rejects(client.push({ model }), /not supported/);

const cut = await client.chat({ model, messages: [{ role: "user", content: "Tell me a story." }], options, stream: true });
await assert.rejects(async () => { for await (const _ of cut) client.abort(); }, { name: "AbortError" });
assert.match((await client.chat({ model, messages, think: false, options })).message.content, /Paris/);
