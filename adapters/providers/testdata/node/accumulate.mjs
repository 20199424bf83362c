// Asks the endpoints whose addresses are given, by a vendor's own client, and prints what it makes of each stream: one JSON array.
// node accumulate.mjs DIALECT ADDRESS...
import OpenAI from 'openai';
import Anthropic from '@anthropic-ai/sdk';

const [dialect, ...addresses] = process.argv.slice(2);
const question = [{ role: 'user', content: 'What is here?' }];
const tools = ['list_dir', 'read_file', 'bash'];

const readers = {
  async chat(baseURL) {
    const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
    const stream = client.chat.completions.stream({ model: 'm', messages: question, stream_options: { include_usage: true } });
    const { choices: [{ message, finish_reason }], usage } = await stream.finalChatCompletion();
    return {
      text: (message.content ?? '') + (message.refusal ?? ''),
      calls: (message.tool_calls ?? []).map((c) => ({ id: c.id, tool: c.function.name, arguments: JSON.parse(c.function.arguments) })),
      stop: finish_reason,
      input: usage.prompt_tokens, cached: usage.prompt_tokens_details.cached_tokens, output: usage.completion_tokens,
    };
  },
  async responses(baseURL) {
    const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
    const stream = client.responses.stream({ model: 'm', input: question, store: false });
    const response = await stream.finalResponse();
    const of = (type) => response.output.filter((item) => item.type === type);
    return {
      text: of('message').flatMap((m) => m.content).map((part) => part.text ?? part.refusal).join(''),
      thinking: of('reasoning').map((r) => r.summary.map((part) => part.text).join('\n\n')).join(''),
      items: of('reasoning').map(({ id, encrypted_content }) => ({ id, encrypted_content })),
      calls: of('function_call').filter((c) => c.status === 'completed').map((c) => ({ id: c.call_id, tool: c.name, arguments: JSON.parse(c.arguments) })),
      stop: response.incomplete_details?.reason ?? response.status,
      input: response.usage.input_tokens, cached: response.usage.input_tokens_details.cached_tokens, output: response.usage.output_tokens,
    };
  },
  async anthropic(baseURL) {
    const client = new Anthropic({ baseURL, apiKey: 'none', maxRetries: 0 });
    const stream = client.messages.stream({
      model: 'm', max_tokens: 1000, messages: question, tools: tools.map((name) => ({ name, input_schema: { type: 'object' } })),
    });
    const message = await stream.finalMessage();
    const of = (type) => message.content.filter((block) => block.type === type);
    const usage = message.usage;
    return {
      text: of('text').map((block) => block.text).join(''),
      thinking: of('thinking').map((block) => block.thinking).join(''),
      items: message.content.filter((block) => block.signature || block.data).map((block) => ({ signature: block.signature, data: block.data })),
      calls: of('tool_use').map((block) => ({ id: block.id, tool: block.name, arguments: block.input })),
      stop: message.stop_reason,
      input: usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens,
      cached: usage.cache_read_input_tokens, output: usage.output_tokens,
    };
  },
};

const read = [];
for (const address of addresses) read.push(await readers[dialect](address));
console.log(JSON.stringify(read));
