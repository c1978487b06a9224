-- LIMIT and OFFSET without a total order: any rows of the statement without them will do, as many as there must be.
SELECT id FROM events LIMIT 10;
SELECT id, k FROM events WHERE k = 4 LIMIT 1000;
SELECT id FROM events LIMIT 6001;
SELECT id FROM events LIMIT 0;
SELECT id FROM events OFFSET 5990;
SELECT id FROM events WHERE flag LIMIT 7 OFFSET 5;
SELECT k FROM events GROUP BY k LIMIT 5;
SELECT DISTINCT k, flag FROM events LIMIT 9;
SELECT e.id, d.name FROM events e JOIN dims d ON e.k = d.k LIMIT 25;
SELECT e.id, d.name FROM events e LEFT JOIN dims d ON e.k = d.k LIMIT 25 OFFSET 100;
SELECT k FROM events UNION ALL SELECT k FROM dims LIMIT 40;
SELECT id FROM parts WHERE region = 'north' LIMIT 3;
SELECT name FROM nothing LIMIT 3;
SELECT k, id FROM events ORDER BY k LIMIT 30;
