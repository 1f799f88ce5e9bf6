"""Expressions and statements whose rendering by jinja2 is kept as a golden."""

VARS = {
    "s": "Hello World", "e": "", "u": "äÖ ß日本😀", "n": 7, "neg": -3, "f": 2.5, "t": True, "no": None,
    "l": [3, 1, 2], "names": ["bob", "Al", "cy"], "el": [], "d": {"b": 1, "a": [1, {"x": "<&'\""}], "items": 5},
    "ed": {}, "users": [{"name": "bob", "age": 30, "tag": "x"}, {"name": "Al", "age": 25, "tag": "y"},
                        {"name": "cy", "age": 30}],
    "ws": " \t pad \n", "multi": "a\nb\r\nc\n\nd", "csv": "a,b,,c", "tree": [{"v": 1, "c": [{"v": 2, "c": []}]}, {"v": 3, "c": []}],
}

EXPRESSIONS = r"""
1+2|1-2|2*3|7/2|7//2|-7//2|7%3|-7%3|7%-3|2**10|2**-1|2**3**2|-2**2|1.5+1|1e3|1e16|1e-5|0.1+0.2|7.0//2|-7.5%2|1_000|0x1F|0b101|0o17
10/4|1/3|2.0*3|100000.0*100000|5//0.3|"a"*3|3*"ab"|[1]*2|"a"+"b"|[1]+[2]|(1,)+(2,)|"a"~1~none~true~2.5|1~undefined_x~2
1<2|1<2<3|3>2>2|1==1.0|true==1|"a"<"b"|"a"=="a"|none==none|[1,2]==[1,2]|(1,2)==[1,2]|{"a":1}=={"a":1}|1!=2|"a"!=1|l==[3,1,2]|2>=2|2<=1|[1,2]<[1,3]
1 in l|5 in l|5 not in l|"ell" in s|"b" in d|"z" in d|"x" not in s|1 in (1,2)|"" in s|none in [none]|"a" in undefined_x|not 1 in l
true and 1|0 or "x"|none or e or "last"|1 and 0|not e|not not 1|e and undefined_x.y|t or undefined_x.y
"a" if t else "b"|"a" if no else "b"|"a" if no|("a" if no) is undefined|1 if 0 else 2 if 0 else 3|("x" if n>3 else "y")~"z"
s[0]|s[-1]|s[1:4]|s[:-3]|s[::-1]|s[::2]|s[10:2:-3]|s[99]|s[5:2]|u[0]|u[3:]|u[-1]|u[::-1]|u\length|l[0]|l[-1]|l[1:]|l[::-1]|l[:2]|l[5]|l[-9] is defined|l[none:2]|(1,2,3)[1:]|s["x"]|d["b"]|d.b|d["a"][1]["x"]|d.a.1.x|d.zz|d["zz"] is defined|d.a[0]|d.items is callable|d["items"]|s[true]|l[1.5]|s[100:]|s[-100:3]|l[-100:100:2]|l[::-2]
[]|[1,"a",none,true,2.5]|(1,)|()|(1,2)|{}|{"a":1,"b":[1]}|{1:2,none:3}|{"a":1,"a":2}|[[1],[2]]|["it's"]|['say "hi"']|["both ' and \""]|["tab\t\n\\"]|["\x00\x7f\u00a0\u200b é"]|[u]|[1,2,]|(1,2,)|{"a":1,}|1,2
"\n\t\\\"\'"|'\x41\u00e9\U0001F600\101'|"\q"|"a" "b" 'c'|"{{ x }}"|'%}'|"\
x"
n is odd|n is even|n is divisibleby 7|n is divisibleby(2)|s is string|n is string|n is number|f is float|n is integer|t is integer|t is boolean|t is number|no is none|x is defined|s is defined|x is undefined|d is mapping|l is mapping|l is sequence|s is sequence|d is sequence|n is sequence|l is iterable|n is iterable|s is iterable|x is iterable|t is true|t is false|1 is true|n is eq 7|n is equalto(7)|n is ne 7|n is gt 5|n is ge 7|n is lt 5|n is le 7|n is greaterthan 6|n is lessthan 6|n is in [7]|"x" is in s|s is lower|"abc" is lower|"ABC" is upper|"123" is upper|none is sameas none|t is sameas true|1 is sameas true|range is callable|s is callable|s is not string|x is not defined|not x is defined|n is not none and n is odd|d.a is iterable and d.a is not string|1.0 is integer|namespace is callable
s\upper|s\lower|u\upper|u\lower|"hELLO wORLD"\title|"a-b (c)"\title|"it's"\title|"hELLO"\capitalize|ws\trim|"xxaxx"\trim("x")|s\length|l\length|d\count|x\length|s\first|s\last|l\first|l\last|el\first|el\last|s\list|d\list|l\join|l\join(", ")|names\join("-")|users\join("+", attribute="name")|s\reverse|l\reverse\list|s\replace("l","L")|s\replace("l","L",1)|s\replace("","-")|"aaa"\replace("aa","b")
x\default("D")|x\d("D")|e\default("D")|e\default("D",true)|no\default("D")|no\d("D",true)|x\default|d.zz\default(1)|l\sort|l\sort(reverse=true)|names\sort|names\sort(case_sensitive=true)|users\sort(attribute="name")\map(attribute="name")\list|users\sort(attribute="age")\map(attribute="name")\join(",")|l\max|l\min|el\max|names\min|users\max(attribute="age")|l\sum|users\sum(attribute="age")|el\sum|l\sum(start=10)|[1,2,1,3,2]\unique\list|["a","A","b"]\unique\list|["a","A","b"]\unique(true)\list
users\map(attribute="name")\list|users\map(attribute="tag")\list|users\map(attribute="tag",default="-")\list|names\map("upper")\list|names\map("replace","b","B")\list|l\map("string")\join("")|["1","2"]\map("int")\sum|users\selectattr("tag")\list\length|users\selectattr("tag","defined")\map(attribute="name")\list|users\selectattr("age","equalto",30)\list\length|users\selectattr("age",">",26)\map(attribute="name")\join|users\rejectattr("tag","defined")\map(attribute="name")\list|users\rejectattr("age","eq",30)\list\length|l\select("odd")\list|l\reject("odd")\list|[0,1,"",2]\select\list|[0,1]\reject\list|l\select(">",1)\list|names\select("in",["Al"])\list|[1,none]\select("none")\list
"3"\int|"x"\int|"x"\int(9)|"3.9"\int|3.9\int|-3.9\int|"0x1f"\int(base=16)|"ff"\int(0,16)|true\int|none\int|" 5 "\int|"1_0"\int|"3.5"\float|"x"\float|"x"\float(1.5)|3\float|-3\abs|-2.5\abs|2.5\round|3.5\round|2.567\round(2)|2.567\round(1,"floor")|2.1\round(0,"ceil")|7\round|2.5\string~"x"|l\string|none\string|1e22|123456789012345.0|1234567890123456789.0|0.0001|0.00001
d\tojson|u\tojson|l\tojson|s\tojson|none\tojson|true\tojson|1.0\tojson|{"k":{"a":[]}}\tojson(indent=2)|[1,[2,{}]]\tojson(indent=1)|el\tojson(indent=2)|ed\tojson|u\tojson(ensure_ascii=true)|{"b":1,"a":2}\tojson(sort_keys=true)|{1:2,none:3,true:4}\tojson|"\x01\x7f\b\f</script>"\tojson|(1,2)\tojson|d\tojson(separators=(",",":"))|[1]\tojson(indent="--")|x\tojson
d\items\list|d\dictsort|{"b":1,"A":2}\dictsort|{"b":1,"A":2}\dictsort(true)|{"a":2,"b":1}\dictsort(by="value")|{"a":1,"b":2}\dictsort(reverse=true)|l\batch(2)\list|l\batch(2,0)\list|users\groupby("age")\length|"hello world foo"\truncate(8)|"hello world foo"\truncate(8,true,"..",0)|"hello"\truncate(8)|"hello world foo bar"\truncate(12,leeway=0)|"a b_c d-e"\wordcount|"ab"\center(6)|"abc"\center(6)\length|"a\nb"\indent|"a\nb"\indent(2)|"a\nb"\indent(2,true)|"a\n\nb"\indent(2)|"a\n\nb"\indent(2,blank=true)|"a\nb\n"\indent("> ",true)|"%s-%s"\format("a",1)|"%d%%"\format(5)|"%r"\format("a")|s\attr("zz") is defined|d\attr("b") is defined
s.upper()|s.lower()|s.swapcase()|s.title()|"they're x1y".title()|s.capitalize()|ws.strip()~"!"|ws.lstrip()~"!"|ws.rstrip()~"!"|"xyax".strip("xy")|"xax".lstrip("x")|"xax".rstrip("x")|csv.split(",")|csv.split(",",1)|csv.rsplit(",",1)|s.split()|" a  b c ".split()|" a  b c ".split(none,1)|" a  b c ".rsplit(none,1)|e.split()|e.split(",")|csv.split(",",maxsplit=2)|s.split("o")[-1]|multi.splitlines()|multi.splitlines(true)|s.startswith("He")|s.startswith(("x","He"))|s.startswith("llo",2)|s.endswith("ld")|s.endswith("x")|s.endswith(("d","x"))|s.find("o")|s.find("zz")|s.find("o",5)|s.rfind("o")|s.index("W")|u.find("日")|s.count("l")|s.count("")|"aaaa".count("aa")|s.replace("o","0")|s.replace("o","0",1)|",".join(["a","b"])|"".join(names)|"-".join(s[:3])
"abc".isalpha()|"ab1".isalpha()|"ab1".isalnum()|"12".isdigit()|"".isdigit()|"1.2".isdigit()|" \t".isspace()|"AB".isupper()|"Ab".isupper()|"ab1".islower()|"pre-x".removeprefix("pre-")|"x.py".removesuffix(".py")|"a=b=c".partition("=")|"a=b=c".rpartition("=")|"abc".partition("x")|"abc".rpartition("x")|"ab".center(7,"*")|"ab".ljust(4)~"!"|"ab".rjust(4,"0")
d.get("b")|d.get("zz")|d.get("zz",4)|d.keys()\list|d.values()\list|d.items()\list|ed.items()|d.keys()|"b" in d.keys()|l.index(1)|l.count(2)|d.items()\length|{"a":1}.items()|{"a":1}.values()|d.copy().b
range(3)\list|range(1,4)\list|range(5,0,-2)\list|range(0)\list|range(3)\length|range(5)[2]|range(5)[-1]|3 in range(5)|dict(a=1,b=2)|dict({"x":1},y=2)|namespace(a=3).a|namespace({"q":1}).q|namespace().zz|strftime_now("%Y-%m-%d")|strftime_now("%d %b %Y")|strftime_now("%A %B %H:%M:%S %j %p %I %y %%")
[l,names]\map("first")\list|{"a":{"b":[10,20]}}["a"].b[1]|(s\lower).split()[0]|-l\length|(n,f)\max|1 + 2 ~ 3 * 4|"a" in s and "b" not in s|s[1:3]\upper|not l|- 3|+3|-f|+true|--3|s\upper is upper|(1 if t else 2)+1|l\first + 1|none|true|x|x ~ x|[x]|{"a":x}
"İ"\length|"ÿ".upper()|"ß".upper()|"Σας".upper()|"ЖЁ".lower()|"éCOLE".capitalize()|"\u00a0x\u3000".strip()|"a\u2028b".splitlines()|"ǅ"\length|"naïve"\title|u\list|u\first
"""

STATEMENTS = [
    "{% if t %}a{% endif %}", "{% if no %}a{% else %}b{% endif %}", "{% if no %}a{% elif n == 7 %}b{% else %}c{% endif %}",
    "{% if 0 %}a{% elif 0 %}b{% elif 1 %}c{% endif %}", "a\n{% if t %}\nb\n{% endif %}\nc\n", "a\n  {% if t %}  \n  b\n  {% endif %}\nc",
    "x {%- if t %} y {%- endif %} z", "x {% if t -%} y {% endif -%} z", "x\n{%+ if t %}y{% endif +%}\nz", "  {{ n }}\n  {{- n -}}  \n z",
    "{# c #}a{# c\nd #}\nb", "a {#- c -#} b", "a\n  {# c #}\nb", "{% raw %}{{ x }}{% endraw %}", "{% raw -%}  a {{ {%- endraw %} b",
    "a\n  {% raw %}\n  {% x %}\n  {% endraw %}\nb", "{{ '{{' }}{{ '}}' }}", "{{ {'a': {'b': 1}}}}", "trailing\n", "trailing\n\n", "\r\na\rb\r\n",
    "{% for x in l %}{{ x }},{% endfor %}", "{% for x in el %}{{ x }}{% else %}none{% endfor %}", "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }};{% endfor %}", "{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for x in l if x > 1 %}{{ x }}:{{ loop.index }}/{{ loop.length }}{% endfor %}", "{% for x in l if x > 5 %}{{ x }}{% else %}E{% endfor %}", "{% for x in l if x > 1 %}{{ loop.last }}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for c in u %}{{ c }}.{% endfor %}", "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [[1,2],[3,4]] %}{{ a+b }} {% endfor %}", "{% for x in range(5) %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for x in range(5) %}{% if x is odd %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in range(3) %}{% for y in range(3) %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}", "{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% for x in l %}{% set o = loop %}{% for y in names %}{{ o.index }}{{ loop.index }} {% endfor %}{% endfor %}", "{% for x in l %}{{ loop.cycle('a','b') }}{% endfor %}", "{% for x in [1,1,2] %}{{ loop.changed(x) }}{% endfor %}",
    "{% for i in tree recursive %}{{ i.v }}{% if i.c %}({{ loop(i.c) }}){% endif %}{% endfor %}", "{% for i in tree recursive %}{{ loop.depth }}{{ loop.depth0 }}{{ loop(i.c) }}{% endfor %}",
    "{% for x in x1 %}{{ x }}{% else %}u{% endfor %}", "{% for x in 1, 2 %}{{ x }}{% endfor %}", "{% for x in l|sort|reverse %}{{ x }}{% endfor %}", "{% for x in l[1:] %}{{ x }}{% endfor %}", "{% for x in l if x != 1 recursive %}{{ x }}{% endfor %}",
    "{% set x = 1 %}{{ x }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set x %}a{{ n }}b{% endset %}{{ x }}", "{% set x | upper %}abc{% endset %}{{ x }}", "{% set x | replace('a','b') | upper %}abc{% endset %}{{ x }}",
    "{% set x = 1 %}{% for i in l %}{% set x = i %}{% endfor %}{{ x }}", "{% set x = 1 %}{% for i in l %}{{ x }}{% set x = i %}{{ x }}{% endfor %}", "{% if t %}{% set x = 5 %}{% endif %}{{ x }}", "{% set ns = namespace(x=1) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b is defined }}", "{% set ns = namespace(go=true) %}{% for i in l if ns.go %}{{ i }}{% if i == 1 %}{% set ns.go = false %}{% endif %}{% endfor %}", "{% set ns = namespace(a=0) %}{% set ns.a, b = 1, 2 %}{{ ns.a }}{{ b }}",
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=4, a=5) }}", "{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}", "{% macro m(a, b=a) %}{{ b }}{% endmacro %}{{ m(3) }}", "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}",
    "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}in{% endcall %}", "{% macro m() %}[{{ caller(1, 2) }}]{% endmacro %}{% call(a, b) m() %}{{ a }}{{ b }}{% endcall %}", "{% macro m(x) %}{{ x }}{% if x > 0 %}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(3) }}",
    "{% macro m() %}{{ n }}{% endmacro %}{{ m() }}", "{% macro m() %}{% set z = 3 %}{% endmacro %}{{ m() }}{{ z is defined }}", "{% set g = 1 %}{% macro m() %}{{ g }}{% endmacro %}{{ m() }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(*[1]) }}{{ m(**{'a': 2}) }}", "{% macro m(a) %} {{ a }} {% endmacro %}{{ m(1) | trim }}{{ m('x')|length }}",
    "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}", "{% filter upper %}abc{{ s }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aaa{% endfilter %}", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}", "{% set a = 5 %}{% with a = 1, b = a %}{{ b }}{% endwith %}",
    "{% generation %}gen{{ n }}{% endgeneration %}", "{% for x in l %}{% generation %}{{ x }}{% endgeneration %}{% endfor %}", "{% set j = joiner(', ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}", "{% set c = cycler('a','b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}",
    "{% for m in users if m.tag is defined %}{{ m.name }}{% if not loop.last %}, {% endif %}{% endfor %}", "{%- set x = 'a' -%}\n  {{- x -}}  \n", "{% set a = l | map('string') %}{{ a | join }}{{ a | join }}", "{% set x = namespace(v=[]) %}{% for i in l %}{% set x.v = x.v + [i] %}{% endfor %}{{ x.v }}",
    "{% if x is defined and x %}a{% else %}b{% endif %}", "{% if (t and\n n) %}y{% endif %}", "{% for m in [] %}{% endfor %}done", "{{ 'x' }}", "{% if messages is not defined %}n{% endif %}", "{% set l2 = l[:] %}{{ l2 }}", "{{ loop is defined }}",
    "{%\n  set z = 1\n%}{{ z }}", "{{ n\n}}", "{% for x in l %}\n  {{ x }}\n{% endfor %}\n", "{% for x in l -%}\n  {{ x }}\n{%- endfor %}\n", "  {% set x = 1 %}  \n  y", "{{ 1 }}\n{{ 2 }}\n\n{{ 3 }}", "a{% if t %}\n\n{% endif %}b", "{%- if t %}\n  a\n{%- endif %}", "\t{%- if t %}a{% endif -%}\t b",
]

# jinja2 refuses each of these when it loads or when it renders.
ERRORS = [
    "{{ x.y }}", "{{ x['y'] }}", "{{ d.zz.y }}", "{{ x + 1 }}", "{{ 1 + 'a' }}", "{{ 'a' + 1 }}", "{{ none + 'a' }}", "{{ 'a' + none }}", "{{ 1 / 0 }}", "{{ 1 // 0 }}", "{{ 1 % 0 }}", "{{ [1] + (2,) }}", "{{ 1 < 'a' }}", "{{ none < 1 }}", "{{ x < 1 }}",
    "{{ 1 in 5 }}", "{{ 1 in 'abc' }}", "{{ 'a' in none }}", "{{ s() }}", "{{ x() }}", "{{ d.b() }}", "{{ raise_exception('no') }}", "{% if t %}{{ raise_exception('a ' ~ n) }}{% endif %}", "{{ s.index('zz') }}", "{{ l.index(99) }}", "{{ l.append(1) }}", "{{ d.update({}) }}", "{{ d.pop('b') }}", "{{ l.pop() }}", "{{ l.sort() }}",
    "{% for x in 5 %}{% endfor %}", "{% for x in none %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for a, b in [[1,2,3]] %}{% endfor %}", "{% set a, b = 1, 2, 3 %}", "{% set q.a = 1 %}", "{% set d.b = 2 %}", "{% break %}", "{% unknown %}", "{% endif %}", "{% if t %}", "{% for x in l %}", "{% if %}{% endif %}", "{{ }}", "{{ 1 + }}", "{{ (1 }}", "{{ [1 }}", "{{ {1} }}",
    "{{ 'a }}", "{{ a b }}", "{{ 1 | nofilter }}", "{{ 1 is notest }}", "{{ 1 | }}", "{% set %}", "{% set 1 = 2 %}", "{% set true = 1 %}", "{% for true in l %}{% endfor %}", "{% macro %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "{% macro m(a) %}{% endmacro %}{{ m(1, a=1) }}",
    "{% macro m() %}{% endmacro %}{% call m() %}{% endcall %}", "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "{% for x in l %}{{ loop(x) }}{% endfor %}", "{{ range(1000000) }}", "{{ range(1, 5, 0) }}", "{{ l | first(1) }}", "{{ n | length }}", "{{ none | length }}", "{{ l | map('nofilter') | list }}", "{{ l | select('notest') | list }}", "{{ x | tojson }}", "{{ s[::0] }}", "{{ s['a':] }}",
    "{{ -'a' }}", "{{ x ** 2 }}", "{{ s.nomethod() }}", "{{ d.nomethod() }}", "{{ nofunction(1) }}", "{{ s.split('') }}", "{{ ','.join([1]) }}", "{{ l | sort(attribute='x.y') | list }}", "{{ [1, 'a'] | sort }}", "{{ l | sum(attribute='zz') }}", "{{ {[]: 1} }}", "{% raw %}x", "{# never closed", "{% if t %}{% else %}{% else %}{% endif %}", "{{ s | replace('a') }}", "{{ '%d' | format('a') }}", "{{ s.startswith(1) }}",
    "{% do l %}", "{{ x | int }}", "{{ 5 | dictsort }}", "{{ 'a' is divisibleby 2 }}", "{% include 5 %}", "{% extends %}", "{% set x = %}", "{{ 1 is }}", "{{ s | upper | }}", "{% elif %}", "{{ namespace(1) }}", "{% filter nofilter %}{% endfilter %}", "{% call 5 %}{% endcall %}", "{{ d | join(attribute='x.y') }}", "{{ 2 ** 'a' }}", "{{ [] < 1 }}", "{{ {} < {} }}", "{{ 'abc'.strip(1) }}", "{{ loop.index }}", "{{ x.y.z is defined }}",
]


def _split(text):
    """Cases stand between bars; a filter's own bar is written as a backslash before a letter."""
    import re
    filters = ("length upper lower title capitalize trim count first last list join reverse replace default d sort max min sum "
               "unique map select reject selectattr rejectattr int float abs round string tojson items dictsort batch groupby "
               "truncate wordcount center indent format attr").split()
    pattern = re.compile(r"\\(" + "|".join(sorted(filters, key=len, reverse=True)) + r")(?![a-z0-9])")
    cases = []
    for line in text.strip("\n").split("\n"):
        for e in line.split("|"):
            if e.strip():
                cases.append("{{ " + pattern.sub(r"|\1", e) + " }}")
    return cases


CASES = _split(EXPRESSIONS) + STATEMENTS + ERRORS
