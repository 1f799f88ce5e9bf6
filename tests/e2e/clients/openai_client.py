#!/usr/bin/env python3
"""The OpenAI client against a real server: what applications do, and what lm-evaluation-harness sends.

    openai_client.py URL KEYED_URL KEY

URL: `lynx up` with a chat model, without keys, with the base path /v1. KEYED_URL: one that wants KEY. Each check
prints one line; the exit code is 1 if any failed.
"""

import asyncio
import json
import sys
import time
import traceback
import urllib.request

import openai

URL, KEYED_URL, KEY = sys.argv[1:4]
ROOT = URL.removesuffix("/v1")
client = openai.OpenAI(base_url=URL, api_key="none", max_retries=0, timeout=120)
MODEL = client.models.list().data[0].id
CHAT = [{"role": "user", "content": "Name three colours of the rainbow."}]
TEXT = "The capital of France is"


def chat(**fields):
    return client.chat.completions.create(
        model=MODEL, messages=CHAT, **{"max_tokens": 24, "temperature": 0, **fields}
    )


def complete(**fields):
    return client.completions.create(
        **{"model": MODEL, "prompt": TEXT, "max_tokens": 12, "temperature": 0, **fields}
    )


def post(path, body, headers=None):
    """As clients without a library do: (status, body)."""
    request = urllib.request.Request(
        path, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def metrics():
    with urllib.request.urlopen(ROOT + "/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    return {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if line.startswith("lynx_") and "{" not in line}


def until(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def raises(kind, call, code=None, param=None):
    try:
        call()
    except kind as error:
        assert code is None or error.code == code, f"code {error.code!r}, not {code!r}"
        assert param is None or error.param == param, f"param {error.param!r}, not {param!r}"
        assert error.body["message"], "no message"
        return error
    raise AssertionError(f"no {kind.__name__}")


def test_models():
    model = client.models.list().data[0]
    assert model.object == "model" and model.created > 0 and model.owned_by
    extra = model.model_extra
    assert extra["root"] and extra["parent"] is None and extra["max_model_len"] > 0
    assert client.models.retrieve(MODEL).id == MODEL
    raises(openai.NotFoundError, lambda: client.models.retrieve("another"), code="model_not_found")


def test_chat():
    reply = chat()
    assert reply.object == "chat.completion" and reply.id.startswith("chatcmpl-") and reply.model == MODEL
    choice = reply.choices[0]
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.finish_reason in ("stop", "length") and choice.logprobs is None
    usage = reply.usage
    assert 0 < usage.completion_tokens <= 24 and usage.prompt_tokens > 10
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details.cached_tokens == 0
    # What applications put into messages.
    parts = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
             {"role": "assistant", "content": None}, {"role": "user", "content": "And?"}]
    assert client.chat.completions.create(model=MODEL, messages=parts, max_completion_tokens=2).usage.completion_tokens <= 2


def test_chat_stream():
    whole = chat()
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    assert all(c.object == "chat.completion.chunk" for c in chunks) and len({c.id for c in chunks}) == 1
    *content, last = chunks
    assert last.choices == [] and last.usage == whole.usage
    assert all(c.usage is None for c in content)
    assert content[0].choices[0].delta.role == "assistant"
    assert all(c.choices[0].delta.role is None for c in content[1:])
    assert "".join(c.choices[0].delta.content or "" for c in content) == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in content if c.choices[0].finish_reason] == [whole.choices[0].finish_reason]
    assert content[-1].choices[0].finish_reason
    assert all(c.usage is None for c in chat(stream=True))  # not asked for
    usages = [c.usage.completion_tokens for c in
              chat(stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True})]
    assert usages == sorted(usages) and usages[-1] == whole.usage.completion_tokens


def test_stream_helper():
    # The helper takes a text that a limit ends for an error: a stop string ends this one.
    fields = {"stop": [" "], "max_tokens": 24}
    with client.chat.completions.stream(model=MODEL, messages=CHAT, temperature=0, **fields) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == chat(**fields).choices[0].message.content


def test_choices_and_seeds():
    sampled = {"temperature": 0.9, "seed": 7}
    alone, several = chat(**sampled), chat(n=3, **sampled)
    texts = [c.message.content for c in several.choices]
    assert [c.index for c in several.choices] == [0, 1, 2] and len(set(texts)) == 3
    assert texts[0] == alone.choices[0].message.content
    assert texts == [c.message.content for c in chat(n=3, **sampled).choices]
    assert chat(temperature=0.9, seed=8).choices[0].message.content != texts[0]
    streamed = [""] * 3
    for chunk in chat(n=3, stream=True, **sampled):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts
    # A drawn seed is told, and gives the same text.
    drawn = chat(temperature=0.9)
    again = chat(temperature=0.9, seed=drawn.model_extra["seed"])
    assert again.choices[0].message.content == drawn.choices[0].message.content


def test_stop():
    text = complete(max_tokens=24).choices[0].text
    stop = text[len(text) // 2 : len(text) // 2 + 4]
    assert stop
    for fields in ({}, {"stream": True, "stream_options": {"include_usage": True}}):
        reply = complete(max_tokens=24, stop=[stop, "\x01"], **fields)
        chunks = list(reply) if fields else [reply]
        assert "".join(c.choices[0].text for c in chunks if c.choices) == text[: text.index(stop)]
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
        assert chunks[-1].usage.completion_tokens < 24
    kept = complete(max_tokens=24, stop=stop, extra_body={"include_stop_str_in_output": True})
    assert kept.choices[0].text == text[: text.index(stop) + len(stop)]


def test_completion_logprobs():
    choice = complete(logprobs=4).choices[0]
    logprobs = choice.logprobs
    assert "".join(logprobs.tokens) == choice.text
    assert logprobs.text_offset == [sum(map(len, logprobs.tokens[:i])) for i in range(len(logprobs.tokens))]
    for token, value, top in zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, strict=True):
        assert value <= 0 and top[token] == value and max(top.values()) == value and len(top) == 4
    chunks = list(complete(logprobs=4, stream=True))
    streamed = [v for c in chunks if c.choices[0].logprobs for v in c.choices[0].logprobs.token_logprobs]
    assert streamed == logprobs.token_logprobs


def test_chat_logprobs():
    choice = chat(logprobs=True, top_logprobs=5).choices[0]
    content = choice.logprobs.content
    assert bytes(b for t in content if t.token != "<|im_end|>" for b in t.bytes).decode() == choice.message.content
    for token in content:
        assert len(token.top_logprobs) == 5 and token.top_logprobs[0].token == token.token
        assert token.top_logprobs[0].logprob == token.logprob <= 0
    assert not chat(logprobs=True).choices[0].logprobs.content[0].top_logprobs
    raises(openai.BadRequestError, lambda: chat(top_logprobs=5))


def test_penalties_and_bias():
    word = post(ROOT + "/tokenize", {"prompt": " Paris", "add_special_tokens": False})[1]["tokens"]
    assert all(t == word[0] for t in complete(
        logit_bias={str(word[0]): 100}, max_tokens=3, extra_body={"return_token_ids": True}).choices[0].model_extra["token_ids"])
    plain = complete(max_tokens=40).choices[0].text
    assert complete(max_tokens=40, frequency_penalty=1.5, presence_penalty=1.0).choices[0].text != plain
    assert complete(max_tokens=40, extra_body={"repetition_penalty": 1.5}).choices[0].text != plain
    assert complete(temperature=1, top_p=0.0001, max_tokens=40).choices[0].text == plain
    assert complete(temperature=1, extra_body={"top_k": 1}, max_tokens=40).choices[0].text == plain


def ids_of(text):
    status, reply = post(ROOT + "/tokenize", {"prompt": text, "add_special_tokens": False})
    assert status == 200 and reply["count"] == len(reply["tokens"]) and reply["max_model_len"] > 0
    status, back = post(ROOT + "/detokenize", {"tokens": reply["tokens"]})
    assert status == 200 and back["prompt"] == text
    return reply["tokens"]


def lm_eval(prompts):
    """The request of lm-eval's local-completions for log-likelihoods, to the letter."""
    status, reply = post(URL + "/completions", {"model": MODEL, "prompt": prompts, "temperature": 0, "max_tokens": 1,
                                                "logprobs": 1, "seed": 1234, "echo": True},
                         {"Authorization": "Bearer "})
    assert status == 200, reply
    choices = sorted(reply["choices"], key=lambda c: c["index"])
    assert len(choices) == len(prompts)
    return [c["logprobs"] for c in choices]


def test_lm_eval_loglikelihood():
    context = ids_of(TEXT)
    generated = complete(prompt=[context], max_tokens=6, logprobs=1, extra_body={"return_token_ids": True}).choices[0]
    continuation = generated.model_extra["token_ids"]
    likely, unlikely = context + continuation, context + ids_of(" spoon")
    first, second = lm_eval([likely, unlikely])
    for ids, logprobs in ((likely, first), (unlikely, second)):
        assert len(logprobs["token_logprobs"]) == len(ids) + 1 == len(logprobs["tokens"]) == len(logprobs["text_offset"])
        assert logprobs["token_logprobs"][0] is None and logprobs["top_logprobs"][0] is None
    values, tops = first["token_logprobs"][len(context):-1], first["top_logprobs"][len(context):-1]
    # lm-eval calls a continuation greedy if each number equals the maximum of its dictionary.
    assert all(v == max(t.values()) for v, t in zip(values, tops, strict=True))
    values, tops = second["token_logprobs"][len(context):-1], second["top_logprobs"][len(context):-1]
    assert not all(v == max(t.values()) for v, t in zip(values, tops, strict=True))
    # The first token comes from the same logits as when it was generated: the same double.
    assert first["token_logprobs"][len(context)] == generated.logprobs.token_logprobs[0]
    # Alone, and beside others: the same doubles.
    assert lm_eval([likely]) == [first] and lm_eval([unlikely, likely])[1] == first
    # Rolling log-likelihoods of long texts.
    long = (context * 100)[:400]
    assert len(lm_eval([long])[0]["token_logprobs"]) == 401


def test_prompt_forms():
    ids, text = ids_of(TEXT), complete().choices[0].text
    assert complete(prompt=ids).choices[0].text == text
    assert [c.text for c in complete(prompt=[ids, ids_of("One, two,")]).choices][0] == text
    several = complete(prompt=[TEXT, "One, two,"], n=2, temperature=0.8, seed=3)
    assert [c.index for c in several.choices] == [0, 1, 2, 3]
    assert several.choices[2].text == complete(prompt="One, two,", temperature=0.8, seed=3).choices[0].text
    assert complete(echo=True).choices[0].text == TEXT + text
    alone = complete(echo=True, max_tokens=0)
    assert alone.choices[0].text == TEXT and alone.usage.completion_tokens == 0


def test_errors():
    bad = openai.BadRequestError
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    raises(bad, lambda: chat(tools=[tool]), param="tools")
    raises(bad, lambda: chat(response_format={"type": "json_object"}), param="response_format")
    raises(bad, lambda: chat(temperature=3), param="temperature")
    raises(bad, lambda: chat(extra_body={"stream_options": {"include_usage": True}}), param="stream_options")
    raises(bad, lambda: complete(suffix="x"), param="suffix")
    raises(bad, lambda: complete(prompt=[10**9]), param="prompt")
    raises(bad, lambda: complete(prompt=""), param="prompt")
    raises(bad, lambda: complete(prompt="a " * 20000), code="context_length_exceeded")
    raises(bad, lambda: complete(max_tokens=10**6), code="context_length_exceeded")
    raises(bad, lambda: client.chat.completions.create(model=MODEL, messages=[]), param="messages")
    raises(openai.NotFoundError, lambda: complete(model="another"), code="model_not_found")
    raises(openai.NotFoundError, lambda: client.embeddings.create(model=MODEL, input="x"))
    assert post(URL + "/completions", {"prompt": "x", "max_tokens": "many"})[0] == 400
    # Unknown fields and explicit nulls are fine; an answer follows every error.
    assert chat(max_tokens=2, extra_body={"what": {"is": ["this"]}, "stop": None, "top_p": None}).choices


def test_keys():
    raises(openai.AuthenticationError, lambda: openai.OpenAI(base_url=KEYED_URL, api_key="wrong").models.list())
    keyed = openai.OpenAI(base_url=KEYED_URL, api_key=KEY)
    name = keyed.models.list().data[0].id
    assert keyed.completions.create(model=name, prompt="the dog", max_tokens=2).usage.completion_tokens > 0
    assert urllib.request.urlopen(KEYED_URL.removesuffix("/v1") + "/health", timeout=10).status == 200


def test_request_ids():
    raw = client.with_options(default_headers={"X-Request-Id": "my-own.1"}).chat.completions.with_raw_response.create(
        model=MODEL, messages=CHAT, max_tokens=1)
    assert raw.headers["x-request-id"] == "my-own.1"
    assert chat(max_tokens=1)._request_id


def test_speculative():
    verified = complete(max_tokens=32).choices[0].text
    pieces, confirmed, stats = [], 0, None
    prompt = ids_of("Once upon a time there was a fox. ")
    prompt = (prompt * 40)[:256]  # long enough for full pages
    want = complete(prompt=prompt, max_tokens=32).choices[0].text
    for chunk in complete(prompt=prompt, max_tokens=32, stream=True,
                          extra_body={"lynx": {"emission": "speculative", "stats": True}}):
        extension = chunk.model_extra["lynx"]
        stats = extension if "drafted" in extension else stats
        if "rollback_to" in extension:
            assert chunk.choices[0].text == "" and extension["rollback_to"] >= confirmed
            pieces = [p for p in pieces if p[0] < extension["rollback_to"]]
            continue
        if not extension["provisional"]:
            confirmed = extension["index"]
        pieces.append((extension["index"], chunk.choices[0].text))
    assert "".join(text for _, text in pieces) == want
    assert stats["drafted"] == stats["accepted"] + stats["rolled_back"] and stats["anchor_bytes"] > 0
    plain = complete(max_tokens=32, extra_body={"lynx": {"stats": True}})
    assert plain.choices[0].text == verified and "drafted" in plain.model_extra["lynx"]
    raises(openai.BadRequestError, lambda: complete(extra_body={"lynx": {"emission": "speculative"}}))


def test_overlapping():
    prompts = [f"Count from {i} to {i + 5}:" for i in range(8)]
    alone = [complete(prompt=p, max_tokens=16).choices[0].text for p in prompts]

    async def together():
        async with openai.AsyncOpenAI(base_url=URL, api_key="none") as many:
            async def one(prompt):
                stream = await many.completions.create(model=MODEL, prompt=prompt, max_tokens=16, temperature=0, stream=True)
                return "".join([c.choices[0].text async for c in stream])
            return await asyncio.gather(*map(one, prompts))

    assert asyncio.run(together()) == alone


def test_disconnect():
    gone = metrics()["lynx_clients_gone_total"]
    endless = {"max_tokens": 4000, "extra_body": {"ignore_eos": True}}
    stream = complete(stream=True, **endless)
    for _, chunk in zip(range(3), stream):
        assert chunk.choices
    until("the request's pages are seen", lambda: metrics()["lynx_kv_cache_usage_perc"] > 0)
    stream.close()
    idle = lambda: (m := metrics())["lynx_kv_cache_usage_perc"] == 0 == m["lynx_num_requests_running"] + m["lynx_gateway_requests_in_flight"]
    until("the pages are free again", idle)
    # One that is not streamed: the client gives up.
    try:
        client.with_options(timeout=1).completions.create(model=MODEL, prompt=TEXT, **endless)
        raise AssertionError("no timeout")
    except openai.APITimeoutError:
        pass
    until("the pages are free again", idle)
    assert metrics()["lynx_clients_gone_total"] == gone + 2
    assert complete().choices[0].text


def main():
    failed = 0
    for name, check in [(n, f) for n, f in globals().items() if n.startswith("test_")]:
        begin = time.monotonic()
        try:
            check()
            print(f"ok {name} ({time.monotonic() - begin:.1f} s)", flush=True)
        except Exception:  # each check is told by itself
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    print(f"openai {openai.__version__}: {failed} failed")
    sys.exit(failed > 0)


main()
