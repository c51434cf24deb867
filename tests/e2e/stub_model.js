// A stand-in for a model on loopback that speaks the Messages API: answers the first turn with one Bash tool
// call, and the tool's result with "Done.". Prints its port; refuses any key but the one in EXPECTED_KEY.
'use strict';
const http = require('http');

const usage = {input_tokens: 10, output_tokens: 5, cache_creation_input_tokens: 0, cache_read_input_tokens: 0};
const call = {type: 'tool_use', id: 'toolu_1', name: 'Bash',
              input: {command: 'echo moved by a model > moved.txt', description: 'Move it'}};

function json(res, status, body) {
  res.writeHead(status, {'content-type': 'application/json'});
  res.end(JSON.stringify(body));
}

function stream(res, request, done) {
  res.writeHead(200, {'content-type': 'text/event-stream'});
  const send = (type, body) => res.write(`event: ${type}\ndata: ${JSON.stringify({type, ...body})}\n\n`);
  const message = {id: 'msg_1', type: 'message', role: 'assistant', model: request.model, content: [], stop_reason: null, usage};
  send('message_start', {message});
  send('content_block_start', {index: 0, content_block: done ? {type: 'text', text: ''} : {...call, input: {}}});
  send('content_block_delta', {index: 0, delta: done ? {type: 'text_delta', text: 'Done.'}
    : {type: 'input_json_delta', partial_json: JSON.stringify(call.input)}});
  send('content_block_stop', {index: 0});
  send('message_delta', {delta: {stop_reason: done ? 'end_turn' : 'tool_use'}, usage});
  send('message_stop', {});
  res.end();
}

http.createServer((req, res) => {
  let body = '';
  req.on('data', part => { body += part; });
  req.on('end', () => {
    if (req.headers['x-api-key'] !== process.env.EXPECTED_KEY)
      return json(res, 401, {type: 'error', error: {type: 'authentication_error', message: 'wrong key'}});
    if (req.url.includes('count_tokens')) return json(res, 200, {input_tokens: 1});
    const request = JSON.parse(body);
    const done = !(request.tools || []).length || JSON.stringify(request.messages.slice(-1)).includes('tool_result');
    if (request.stream) return stream(res, request, done);
    json(res, 200, {id: 'msg_1', type: 'message', role: 'assistant', model: request.model, usage,
                    content: [done ? {type: 'text', text: 'Done.'} : call], stop_reason: done ? 'end_turn' : 'tool_use'});
  });
}).listen(0, '127.0.0.1', function () { console.log(this.address().port); });
